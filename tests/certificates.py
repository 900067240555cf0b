"""Certification authorities for a test run, made with openssl."""

import subprocess
from pathlib import Path
from uuid import uuid4


class Authority:
    """A certification authority of one test run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.ca = folder / f"{name}-ca.pem"
        self._key = folder / f"{name}-ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN={name} CA"),
        )

    def issue(self, name: str, *, days: int = 2, password: str = "", rsa: int = 0) -> Path:
        """Issue a certificate for loopback; its key lies beside it as ``.key``."""
        certificate = self.folder / f"{name}.pem"
        key, request = certificate.with_suffix(".key"), certificate.with_suffix(".csr")
        kind = [f"rsa:{rsa}"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        secret = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        self._openssl(
            *("req", "-newkey", *kind, *secret, "-keyout", key, "-out", request),
            *("-subj", f"/O=Tests/CN={name}"),
        )
        extensions = certificate.with_suffix(".ext")
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:{name}.example\n")
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key),
            *("-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate),
        )
        return certificate

    def revoke(self, *certificates: Path, until: str = "") -> Path:
        """Issue a list that revokes these; ``until``, as YYYYMMDDHHMMSSZ, is when it runs out."""
        folder = self.folder / uuid4().hex
        folder.mkdir()
        (folder / "index").touch()
        (folder / "number").write_text("01\n")
        settings = folder / "settings"
        settings.write_text(
            "[ca]\ndefault_ca = us\n[us]\ndefault_md = sha256\ndefault_crl_days = 2\n"
            f"database = {folder / 'index'}\ncrlnumber = {folder / 'number'}\n"
            f"certificate = {self.ca}\nprivate_key = {self._key}\n"
        )
        for certificate in certificates:
            self._openssl("ca", "-config", settings, "-revoke", certificate)
        made = folder / "list.crl"
        ends = ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", until] if until else []
        self._openssl("ca", "-config", settings, "-gencrl", *ends, "-out", made)
        return made

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run(
            ["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60
        )
