import socket

from systemd import daemon, journal

[fd] = daemon.listen_fds()
listener = socket.socket(fileno=fd)
daemon.notify("READY=1")
while True:
    conn, _ = listener.accept()
    with conn:
        name = conn.makefile().readline().strip()
        journal.send("greeting a client", HELLO_NAME=name)
        conn.sendall(f"hello {name}\n".encode())
