"""Runs commands in the monitor of QEMU at a Unix socket, and prints what it answers: monitor.py SOCKET COMMAND..."""
import socket
import sys

PROMPT = b"(qemu) "


def answer(connection):
    text = bytearray()
    while not text.endswith(PROMPT):
        part = connection.recv(1 << 20)
        if not part:
            break
        text += part
    return bytes(text)


with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    answer(connection)
    for command in sys.argv[2:]:
        connection.sendall(command.encode() + b"\n")
        sys.stdout.buffer.write(answer(connection))
