"""Face crops of a corpus, cut out once and read without decoding."""
