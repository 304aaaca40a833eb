"""The commands of the command line, one module per command or pair of commands; `agent/cli.py` gives them their names.

`driftgauge.agent.cli` imports every module of this package to build the command line. Modules therefore import at the
top only what starts fast, and inside a function what is slow to import: settings, numpy, clients, the agent.
`options.py` holds the options that several commands share, `terminal.py` what they print and how they end.
"""
