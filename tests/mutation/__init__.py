"""Mutation testing of the core: small defects are put into the code, and the tests must notice each.

    tox -e mutation                              # a sample of 300 mutants, half an hour
    tox -e mutation -- --sample 50 --seed 7
    tox -e mutation -- --only crypto/jose.py     # every mutant of a file
    tox -e mutation -- --again report.json       # the survivors of a report once more

Two libraries were looked at first, and neither fits. mutmut 3 leaves out functions with a decorator
(`contextmanager`, `property`, `sensitive_variables`), and all that happens at import: constants, limits and
fields. cosmic-ray has one test command for all mutants, so each of them would cost the whole suite. Here only
the tests run that reach the mutated line, as coverage's contexts say, the nearest first, so a mutant
takes seconds.
"""
