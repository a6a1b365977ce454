"""The pure domain: states, identifiers, money, errors, requirements. No framework, no I/O, no clock."""
