"""The wire formats of the providers, as a scripted server speaks them."""

from kneo_serv.testing.wires.anthropic import MessagesWire
from kneo_serv.testing.wires.bedrock import ConverseWire
from kneo_serv.testing.wires.google import GeminiWire
from kneo_serv.testing.wires.openai import ChatWire, ResponsesWire
from kneo_serv.testing.wires.wire import Complaint, Wire

__all__ = ["ChatWire", "Complaint", "ConverseWire", "GeminiWire", "MessagesWire", "ResponsesWire", "Wire"]
