"""Whether sources support a statement: compared word by word, weighed with the models' scores, judged."""
