"""What the parties of a concordat must agree on: values, rules and protocols.

No torch, no Flower, no sockets; nothing here knows on which side it runs.

Glossary, one word per idea:
    institution  a party that holds records and stays sovereign; runs a node
    coordinator  the party that runs rounds; never sees a record
    base         the frozen language model that everyone holds, named by digest
    adapter      the LoRA tensors that are trained (AdapterSchema, AdapterState)
    unit         whom privacy protects: a record, or all records of one patient, customer or company
    plan         what is agreed before a record is read (JobPlan, RoundPlan, PrivacyPlan)
    round        one plan sent, trained, collected and folded
    cohort       the institutions that a round's plan goes to
    update       what one institution's adapter changed by, noised
    fold         old state + sum of updates -> new state
    spend        the privacy cost that an institution states for its part
    release      a published adapter with its signed manifest
"""

__version__ = "0.1.0"
