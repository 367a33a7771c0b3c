"""An answer from passages: composed of source sentences, or written by a language model and read as it comes."""
