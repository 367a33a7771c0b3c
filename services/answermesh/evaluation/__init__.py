"""How good a mesh is, measured through its API on public data or on your own.

suite       what a suite is: tasks of items, and how one item is measured
sets        the folders that questions and documents come from
meshes      a mesh that holds one corpus, kept between runs
running     tasks to records, resumable
records     what was measured, one JSON object a line
summary     records to figures with intervals; two runs compared
report      figures as Markdown and HTML
suites/     one file for each suite
"""
