"""One file per revision, named ``NNNN_verb_noun``. A revision that was released is never edited."""
