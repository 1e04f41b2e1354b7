"""The command `treecot`: one subcommand a module.

Arguments are read here, and bad ones refused; the work is done elsewhere.
"""
