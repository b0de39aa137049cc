"""Console scripts of the nodes, one file each. They import nothing heavy before `start` runs."""
