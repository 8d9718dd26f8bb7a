"""A web page and an HTTP interface that classify pictures with one network."""
