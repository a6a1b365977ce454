"""The state graphs: the only place that knows LangGraph."""
