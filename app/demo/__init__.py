"""`hae demo`: a GPU cluster's trace, replayed through the whole engine over real processes, real HTTP and a real SVM.

Everything that is asserted at the end is counted from outside the code it judges: requirements from the trace's files,
slots from the offers' intervals, webhooks at their receivers, events and payments from the chain's own blocks and token
accounts; and no job may be missing that was acknowledged or created on chain.
"""
