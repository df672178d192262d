"""Domains: what items are called, which of their fields a prompt shows, how users rate them. All of it is data."""

from rella_cpp.domains.definition import Domain, Field, Identity, RatingScale, SummaryWords, Templates
from rella_cpp.domains.files import builtin_domains, domain_source, load_domain

__all__ = [
    "Domain",
    "Field",
    "Identity",
    "RatingScale",
    "SummaryWords",
    "Templates",
    "builtin_domains",
    "domain_source",
    "load_domain",
]
