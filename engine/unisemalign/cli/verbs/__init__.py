"""One file a family of verbs. At import they load nothing but options."""
