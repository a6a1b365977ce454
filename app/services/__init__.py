"""Use cases: one transaction a public function. Called by tools, routes, graphs and listeners; no HTTP."""
