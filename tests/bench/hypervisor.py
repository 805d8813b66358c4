#!/usr/bin/env python3
"""A node of Proxmox VE with many guests, as far as a cycle asks it: for tests/bench/bench, part guests.

    tests/bench/hypervisor.py GUESTS CERTIFICATE_AND_KEY     prints its port; ends with its standard input

Answers are made once, so that what is measured beside it is who asks. How many requests came is what GET /count says.
"""
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

NODE = "pve1"
UPID = "UPID:{node}:0000{vmid:04X}:00000001:{at:08X}:vz{what}:{vmid}:bench@pve!bench:"


class Guests:
    def __init__(self, count):
        self.lock = threading.Lock()
        self.requests = 0
        self.running = {str(100 + number): number % 5 != 0 for number in range(count)}

    def row(self, vmid, **more):
        status = "running" if self.running[vmid] else "stopped"
        return {"vmid": int(vmid), "name": f"guest{vmid}", "status": status, "maxmem": 512 << 20, "cpus": 1, "tags": "", **more}

    def answer(self, method, path):
        """What is asked for, or None."""
        with self.lock:
            self.requests += path != "/count"
        if path == "/count":
            return self.requests
        parts = path.removeprefix("/api2/json").strip("/").split("/")
        match parts:
            case ["cluster", "resources"]:
                guests = [self.row(it, type="lxc", node=NODE, id=f"lxc/{it}") for it in self.running]
                return [{"type": "node", "node": NODE, "status": "online"}, *guests]
            case ["nodes", _, "lxc"]:
                return [self.row(it) for it in self.running]
            case ["nodes", _, "qemu"]:
                return []
            case ["nodes", _, "lxc", vmid, "pending"]:
                keys = {"cores": 1, "memory": 512, "hostname": f"guest{vmid}", "description": f"guest {vmid}\n", "unprivileged": 1,
                        "rootfs": f"local:vm-{vmid}-disk-0,size=4G", "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01", "onboot": 1}
                return [{"key": key, "value": value} for key, value in keys.items()]
            case ["nodes", _, "lxc", vmid, "status", "current"]:
                return self.row(vmid, ha={"managed": 0})
            case ["nodes", _, "lxc", vmid, "status", what] if method == "POST":
                self.running[vmid] = what == "start"
                return UPID.format(node=NODE, vmid=int(vmid), at=1_790_000_000, what=what)
            case ["nodes", _, "tasks", upid, "status"]:
                return {"upid": unquote(upid), "status": "stopped", "exitstatus": "OK", "type": "vzstart"}
            case ["nodes", _, "tasks"]:
                return []
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet.
    wbufsize = -1

    def reply(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        data = self.server.guests.answer(self.command, self.path.split("?")[0])
        body = json.dumps({"data": data}).encode()
        self.send_response(400 if data is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = reply

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.guests = Guests(int(sys.argv[1]))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
