"""One query being answered: its plan, which finding goes where, its agents' parts, and how it ends."""
