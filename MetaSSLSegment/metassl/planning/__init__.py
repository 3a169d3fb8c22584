"""From the data set to a plan, and from volumes to network input on its grid."""
