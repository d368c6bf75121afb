"""Unpacks wheels: `unpack.py FOLDER < RULES`.

Each rule is a line `member prefix<TAB>destination<TAB>twins`. Every member of the folder's wheels that begins with a
prefix is unpacked by the first rule that fits. An empty destination leaves it out. A file that lies in the folder
`twins` already, alike by size and CRC-32, is linked instead.
"""
import glob, os, shutil, sys, zipfile, zlib
rules = [line.rstrip('\n').split('\t') for line in sys.stdin]
found = set()
def alike(path, entry):
    if not os.path.exists(path) or os.path.getsize(path) != entry.file_size:
        return False
    crc = 0
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc == entry.CRC
for wheel in glob.glob(os.path.join(sys.argv[1], '*.whl')):
    archive = zipfile.ZipFile(wheel)
    for entry in archive.infolist():
        name = entry.filename
        rule = next((rule for rule in rules if name.startswith(rule[0])), None)
        if rule is None or not rule[1] or entry.is_dir() or '..' in name:
            continue
        found.add(rule[0])
        prefix, to, twins = rule
        # A prefix that ends in / is a folder, any other is one file.
        to = os.path.join(to, name[len(prefix):] if prefix.endswith('/') else os.path.basename(name))
        os.makedirs(os.path.dirname(to), exist_ok=True)
        twin = os.path.join(twins, os.path.basename(name)) if twins else ''
        if twin and alike(twin, entry):
            os.link(twin, to)
            continue
        with archive.open(entry) as source, open(to, 'wb') as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
lacking = [rule[0] for rule in rules if rule[1] and rule[0] not in found]
if lacking:
    sys.exit('the wheels lack ' + ', '.join(lacking))
