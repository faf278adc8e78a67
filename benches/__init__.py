"""How fast it is, against the bare engine in the same run: `python -m benches.run`.

`records` makes the input, each `measure_*` module takes one measurement in a process of its own, `run`
interleaves them over several rounds, `report` says what came out.
"""
