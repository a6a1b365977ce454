"""`hae demo`: a GPU cluster's trace, replayed through the whole engine over real processes and real HTTP.

Everything that is asserted at the end is counted from outside the code it judges: requirements from the trace's files,
slots from the offers' intervals, webhooks at their receivers, and no job may be missing that was acknowledged.
"""
