"""The bring-up checker: listens for some seconds and says in words what is missing or wrong.

`check_node` is the node. It collects a `Surroundings`; the files `*_checks` turn parts of it into
findings and know no node, so that each finding is tested with plain messages.
"""
