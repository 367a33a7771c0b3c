"""The command line: `answermesh up`, `import`, `ask` and what goes with them."""
