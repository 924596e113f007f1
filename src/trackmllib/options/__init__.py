"""Every option of ``autolog()``: its names, the values it takes, and sentences for the others."""
