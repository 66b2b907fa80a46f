"""One experiment at many points: a grid, a random search or Optuna's, each point a run of its own.

flags    the command line: the sweep's own flags, and those that every point gets
space    what is swept: values and ranges by flag, the points of a grid, their names
search   the points of a search, one after another
point    one point in a process of its own: what an engine runs
engines  where points run: on this machine and on a SLURM cluster, both by submitit
on_ray   the same on a Ray cluster
state    which points there are and how each stands, in `sweep.json`
run      submits, waits, and stops
report   `results.json` and the table
"""
