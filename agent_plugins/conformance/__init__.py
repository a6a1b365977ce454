"""The conformance suite of the plugin protocol: what any plugin must do, whoever wrote it.

With pytest::

    @pytest.mark.parametrize("case", conformance.cases(MyPlugin()), ids=str)
    def test_conforms(case):
        case.run()

From the command line: ``hae plugin check NAME`` or ``hae plugin check my_package.my_module:MyPlugin``.
"""

from agent_plugins.conformance.subject import Nonconformity
from agent_plugins.conformance.suite import Case, Result, cases, check

__all__ = ["Case", "Nonconformity", "Result", "cases", "check"]
