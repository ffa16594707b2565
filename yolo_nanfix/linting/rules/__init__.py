"""The rules, one module a family; `rule.FAMILIES` lists them."""
