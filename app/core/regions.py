"""Continents of countries (ISO 3166-1 alpha-2), for workers that report a country and no region."""

from __future__ import annotations

_COUNTRIES = {
    "AF": "DZ AO BJ BW BF BI CV CM CF TD KM CG CD CI DJ EG GQ ER SZ ET GA GM GH GN GW KE LS LR LY MG MW ML MR MU YT MA "
    "MZ NA NE NG RE RW SH ST SN SC SL SO ZA SS SD TZ TG TN UG EH ZM ZW",
    "AS": "AF AM AZ BH BD BT BN KH CN CY GE HK IN ID IR IQ IL JP JO KZ KP KR KW KG LA LB MO MY MV MN MM NP OM PK PS PH "
    "QA SA SG LK SY TW TJ TH TL TR TM AE UZ VN YE",
    "EU": "AX AL AD AT BY BE BA BG HR CZ DK EE FO FI FR DE GI GR GG HU IS IE IM IT JE LV LI LT LU MT MD MC ME NL MK NO "
    "PL PT RO RU SM RS SK SI ES SJ SE CH UA GB VA XK",
    "NA": "AI AG AW BS BB BZ BM BQ VG CA KY CR CU CW DM DO SV GL GD GP GT HT HN JM MQ MX MS NI PA PR BL KN LC MF PM VC "
    "SX TT TC US VI",
    "OC": "AS AU CK FJ PF GU KI MH FM NR NC NZ NU NF MP PW PG PN WS SB TK TO TV UM VU WF",
    "SA": "AR BO BR CL CO EC FK GF GY PY PE SR UY VE",
}
_REGION = {code: region for region, codes in _COUNTRIES.items() for code in codes.split()}
_NAMES = {
    "UNITED STATES": "NA",
    "UNITED STATES OF AMERICA": "NA",
    "USA": "NA",
    "CANADA": "NA",
    "MEXICO": "NA",
    "UNITED KINGDOM": "EU",
    "UK": "EU",
    "GERMANY": "EU",
    "FRANCE": "EU",
    "NETHERLANDS": "EU",
    "POLAND": "EU",
    "SPAIN": "EU",
    "ITALY": "EU",
    "SWEDEN": "EU",
    "FINLAND": "EU",
    "CHINA": "AS",
    "INDIA": "AS",
    "JAPAN": "AS",
    "SINGAPORE": "AS",
    "SOUTH KOREA": "AS",
    "AUSTRALIA": "OC",
    "NEW ZEALAND": "OC",
    "BRAZIL": "SA",
    "ARGENTINA": "SA",
    "SOUTH AFRICA": "AF",
}


def region_of(country: str) -> str:
    """The Region of a country given by its ISO code (or a common English name); empty when unknown."""
    key = country.strip().upper()
    return _REGION.get(key) or _NAMES.get(key, "")
