"""The options of each command, one module a command: ``add_arguments``. They import nothing slow, so that ``--help``
and a wrong option are answered at once."""
