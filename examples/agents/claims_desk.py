"""Claims desk: a long handbook, a claim of three lines, and an answer of a few tokens; a thousand claims a day.

A plain agent, as its author first wrote it: the claim, which is all that changes, stands before the handbook.
"""

from __future__ import annotations

from typing import Any

PROMPT = """You sort claims for travel expenses. Give the number of the rule that decides, and nothing else.

Company: {company}
Industry: {industry}
Employees: {employees}

Handbook:
1. A claim names the traveller, the purpose, the days and the places. A claim without a purpose goes back unpaid, whatever its amount. "Meeting" alone is no purpose; "meeting with the auditors in Leeds" is one.
2. Trains are booked in standard class. First class is paid on journeys of more than three hours, and where it was the cheaper ticket on the day of the booking; the claim shows both prices. Seat reservations are always paid, upgrades on the train never.
3. Flights of less than four hours are booked in economy. On longer ones premium economy is paid, and business class where the traveller works on the day of arrival. Miles belong to the traveller. A flight that a train could replace in under four hours needs a reason in writing.
4. Cars are hired in the smallest class that carries the people and their luggage. Fuel, tolls and parking are paid by receipt; fines are not. Mileage in a private car is paid at the rate of the tax office, and includes fuel, wear and insurance: none of them is claimed beside it.
5. Taxis are paid between ten in the evening and six in the morning, with heavy luggage, and where no public transport runs within half an hour. The receipt names the start and the end. Tips of up to a tenth are paid and are noted on the receipt by hand.
6. Hotels are paid up to the limit of the city in the table of the finance department, breakfast included. Beyond the limit the traveller pays the difference, unless a fair or a congress had filled the cheaper ones; the programme of the fair is attached. The minibar, films and laundry are private, but laundry is paid from the fifth night.
7. Meals are paid by day rate and not by receipt. A meal that was part of a ticket, of the hotel's price or of an invitation is taken off the rate: a fifth for breakfast, two fifths for lunch and two fifths for dinner. On the days of departure and return half a rate is paid.
8. Guests are invited for a reason that is written down, with the names and the companies of everybody at the table. Alcohol is paid with guests only. More guests than hosts: the whole bill is paid. More hosts than guests: the share of the guests.
9. Telephone and data abroad are paid where the company's own contract does not cover the country. Hotel networks are paid if the traveller worked there. Films and games that appear on its bill are taken off.
10. Amounts in other currencies are converted at the rate of the card's statement. Without a card the rate of the central bank on the day of the receipt holds. Nobody uses the rate of an exchange office, and fees for changing money are paid only where cards are not taken.
11. A lost receipt is replaced by a statement with the place, the day, the amount and a signature. Three lost receipts a year are accepted; from the fourth on the amount is not paid. A photograph of a receipt is a receipt if every line of it can be read.
12. Claims arrive within thirty days after the journey. Later ones need the signature of the head of the department, and after ninety days nothing is paid. Advances that were not claimed against within thirty days are taken from the next salary.
13. Journeys that were cancelled by the company are paid in full, with everything that could not be given back. Journeys that were cancelled by the traveller are paid if illness or the death of a relative was the reason. The claim says who cancelled, and when.
14. Private days before or after a journey are allowed if they make it no dearer. The claim compares the fare with and without them, on one day of booking. Hotels and meals of private days are private too.

Where two rules fit, the lower number decides. Where none fits, the answer is 0. Do not explain the answer.

Rule:"""


class ClaimsDesk:
    """One call a claim; ``client`` offers ``generate(prompt, max_tokens) -> str``."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def sort(self, company: str, industry: str, employees: str) -> dict[str, str]:
        prompt = PROMPT.format(company=company, industry=industry, employees=employees)
        return {"company": company, "rule": self.client.generate(prompt, max_tokens=2)}
