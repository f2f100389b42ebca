"""One request: builds and reads it (`wire`), sends it (`session`), tries it again (`retry`)."""
