"""The command line: words in, words out. Nothing here knows how a dataset is built."""
