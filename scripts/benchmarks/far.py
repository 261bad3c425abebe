"""far.py PORT TARGET SECONDS: hands every byte between two ports on after so long, in each direction."""
import asyncio
import sys

port, target, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])


async def carry(reader, writer):
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    async def give():
        while True:
            when, data = await queue.get()
            if (wait := when - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                return writer.close()
            writer.write(data)
            await writer.drain()

    giving = asyncio.ensure_future(give())
    try:
        while data := await reader.read(1 << 18):
            queue.put_nowait((loop.time() + delay, data))
    except ConnectionError:
        pass
    queue.put_nowait((loop.time() + delay, b""))
    try:
        await giving
    except ConnectionError:
        writer.close()


async def serve(near_reader, near_writer):
    # The handshake of TCP takes a round trip too.
    await asyncio.sleep(2 * delay)
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target, limit=1 << 20)
    await asyncio.gather(carry(near_reader, far_writer), carry(far_reader, near_writer))


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 20) as server:
        await server.serve_forever()


asyncio.run(main())
