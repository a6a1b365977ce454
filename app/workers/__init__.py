"""Background processes: the wave queue, the sweepers, and the supervisor that composes and runs them.

A worker claims due signals, runs the job graph once on that wave and commits once; it may die at any point.
"""
