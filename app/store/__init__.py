"""The only SQL: tables, queries and guarded moves, one aggregate a module, and the unit of work.

Every change of state is a compare-and-set that returns whether it won, and writes its history and event rows in the
same transaction. Rows leave this package for `app.services` at most.
"""
