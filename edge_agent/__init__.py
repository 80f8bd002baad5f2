"""The device software: micro-agents that talk through typed MQTT topics only."""

VERSION = "0.1.0"
