"""Archives as tests need them."""

import io
import tarfile


def packed(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive of these files, in their order."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return target.getvalue()
