"""Jobs on Ray: the only modules that import Ray. Each job has a function `run` and a command line."""
