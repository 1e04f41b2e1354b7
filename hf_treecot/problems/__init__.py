"""Problems: where they come from (files, the Hub, generators), how rows are read, and what must be left out.

It must not know how a problem is solved or checked.
"""
