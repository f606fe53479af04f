"""The test bed: private instances of the real servers, real processes of the product, and the tools to break them.

Everything started here dies with the process that started it, also when that is killed, and writes only below the
folder it is given. ``python -m tests.bed`` says on one line what the bed runs on.
"""
