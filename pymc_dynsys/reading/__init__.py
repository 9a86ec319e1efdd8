"""Values, times, inputs and events of users as arrays with named dims; nothing here knows PyMC."""
