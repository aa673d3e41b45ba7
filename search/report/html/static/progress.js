// How the search went.
