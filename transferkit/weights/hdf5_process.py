"""The child process of `hdf5.hdf5_checker`, run as a script, which reads HDF5 files completely.

On some damaged files the HDF5 library loops for ever, crashes, or requests ever more memory. Here that does no harm:
the time and memory of this process are limited, and it writes no files. It imports h5py only. Standard input has a line
of JSON for each file, [path, member of the zip at that path or ""]; standard output has a line of JSON for each, the
problem or null.
"""

import io
import json
import os
import sys
import zipfile

import h5py

try:
    import resource
except ImportError:  # Windows has no such limits; the deadline of the parent process applies
    resource = None  # type: ignore[assignment]  # typeshed declares a module

SECONDS, BYTES_A_SECOND = 5, 50_000_000  # processor time
MOST_OBJECTS = 20_000  # groups and arrays; the largest models of Keras have half as many
ROOM = 2**28  # bytes of memory in addition to three times the file's size


def main():
    set_limit("RLIMIT_FSIZE", 0)
    set_limit("RLIMIT_CORE", 0)
    print_json("ready")
    for line in sys.stdin:
        path, member = json.loads(line)
        try:
            print_json(find_problem(path, member))
        except MemoryError:
            print_json("is damaged: it asks for more memory than a file of its length can need.")
        except Exception as error:  # h5py raises errors of any type
            first = (str(error).strip() or "no more is known").splitlines()[0].rstrip(".")
            print_json(f"is damaged or truncated: {type(error).__name__} ({first}).")


def print_json(text: str | None):
    print(json.dumps(text), flush=True)


def find_problem(path: str, member: str) -> str | None:
    """Find the problem of a file, or of a member of a zip archive: a sentence without its subject, or None."""
    if not member:
        size = os.path.getsize(path)
        set_limits(size)
        with h5py.File(path, "r") as file:
            return find_problem_in(file, size)
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(member).file_size
        set_limits(size)
        content = archive.read(member)
    with h5py.File(io.BytesIO(content), "r") as file:
        return find_problem_in(file, size)


def set_limits(size: int):
    """Limit the additional time and memory for the next file, of `size` bytes."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    set_limit("RLIMIT_CPU", int(used.ru_utime + used.ru_stime) + SECONDS + size // BYTES_A_SECOND)
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        set_limit("RLIMIT_AS", pages * resource.getpagesize() + 3 * size + ROOM)


def set_limit(name: str, value: int):
    """Set a soft limit, which can be raised again, below the hard limit of this process."""
    if resource is None:
        return
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def find_problem_in(file: h5py.File, room: int) -> str | None:
    """Read every attribute and every array of a file; they may have at most `room` bytes in total."""
    waiting, seen = [file["/"]], set()
    while waiting:
        thing = waiting.pop()
        address = h5py.h5o.get_info(thing.id).addr
        if address in seen:  # a cycle of groups has no end
            return f"is damaged: {thing.name!r} is in it twice."
        seen.add(address)
        inside = len(thing) if isinstance(thing, h5py.Group) else 0
        if len(seen) + len(waiting) + inside > MOST_OBJECTS:
            return f"has more than {MOST_OBJECTS:,} groups and arrays, which no model of Keras has."
        for key in thing.attrs:
            attribute = thing.attrs.get_id(key)  # `get_storage_size` fails for an empty attribute
            room -= attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size()
            if room < 0:
                return f"is damaged: the attribute {key!r} declares more data than the file has."
            thing.attrs[key]
        if isinstance(thing, h5py.Group):
            for key in thing:
                # another kind of link could read any file of the user
                if not isinstance(thing.get(key, getlink=True), h5py.HardLink):
                    return f"has no group or array {key!r} of its own in {thing.name!r}."
                waiting.append(thing[key])
        elif not isinstance(thing, h5py.Dataset) or thing.external or thing.is_virtual:
            return f"has no array of its own at {thing.name!r}."
        else:
            room -= thing.nbytes
            if room < 0:
                return f"is damaged or compressed: {thing.name!r} declares more data than the file has."
            thing[()]
    return None


if __name__ == "__main__":
    main()
