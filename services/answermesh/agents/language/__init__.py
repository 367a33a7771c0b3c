"""What a text tells by its wording alone: words, names, numbers, what is asked, whom it speaks to. No I/O."""
