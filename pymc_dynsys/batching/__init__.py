"""From one trajectory to a batch: mapped axes, blocks, devices and precision; knows no model."""
