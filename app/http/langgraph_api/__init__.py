"""The agent graph behind the API of LangGraph's server, as far as `langgraph-sdk` needs it: docs/langgraph-api.md.

A run makes the tool calls that its input holds. bodies.py: what requests carry; inputs.py: the calls of an input;
progress.py: how far a run has come, and what of it is shown; events.py: the same as a stream; keeper.py: carries the
runs of this process out; answers.py: rows as the SDK reads them; the routes are in assistants.py, threads.py, runs.py.
"""
