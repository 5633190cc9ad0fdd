"""The Arabic and English words and sentence patterns that drawn contracts are made of."""

from __future__ import annotations

from backend.synthetic.texts import Lexicon

__all__ = ["ARABIC", "ENGLISH"]

_ARABIC_SENTENCES = (
    "يلتزم {party} بأن {duty} خلال {days} يوماً من تاريخ {event}.",
    "ما لم يتفق الطرفان كتابةً على خلاف ذلك، يلتزم {party} بأن {duty}، كما يلتزم {other} بأن {duty}.",
    "إذا أخلّ {party} بأي من التزاماته جاز لـ{other} {remedy} بعد إخطار كتابي مدته {days} يوماً على الأقل.",
    "يقرّ {other} بأن {truth}.",
    "لأغراض المادة ({n}) يقصد بعبارة «{term}» {meaning}.",
    "«{term}»: {meaning} على النحو المبين في الملحق رقم ({n}).",
    "تبلغ القيمة الإجمالية لهذا {deed} مبلغاً وقدره {amount} تسدد على {n} أقساط متساوية.",
    "يدفع مبلغ {amount} إلى {party} في موعد أقصاه {date}.",
    "يسري هذا {deed} اعتباراً من {date} ولمدة {n} سنوات قابلة للتجديد باتفاق الطرفين كتابةً.",
    "ترسل جميع الإخطارات المتعلقة بهذا {deed} باليد أو بالبريد المسجل إلى العنوان التالي: {address}.",
    "يضمن {party} لـ{other} أن {truth} ويتعهد بأن {duty}.",
    "لا يجوز لأي من الطرفين {breach} دون موافقة كتابية مسبقة من الطرف الآخر.",
    "مع مراعاة أحكام المادة ({n}) لا تتجاوز مسؤولية {party} الناشئة عن {event} مبلغ {amount}.",
    "كل نزاع ينشأ عن تنفيذ هذا {deed} أو تفسيره يحل ودياً، وإلا فتختص به المحاكم في {city}.",
    "يخضع هذا {deed} للقوانين والأنظمة المعمول بها في {city}.",
    "يلتزم {party} بالمحافظة على سرية {meaning} ولا يحق له {breach} إلا في الأحوال التي يوجبها القانون.",
    "عند {event} يلتزم {party} بأن {duty} وأن {duty}.",
    "اتفق الطرفان على أن {truth} وأن {duty} على نفقته الخاصة.",
    "إذا استمر {event} أكثر من {days} يوماً جاز لأي من الطرفين {remedy}.",
    "لا يعتد بأي تعديل على هذا {deed} ما لم يكن مكتوباً وموقعاً من {name} نيابة عن {company}.",
    "يعتبر الملحق رقم ({n}) جزءاً لا يتجزأ من هذا {deed} ومكملاً له.",
)
_ARABIC_SLOTS = {
    "party": ("الطرف الأول", "المؤجر", "المورد", "المقاول", "صاحب العمل", "البائع", "مقدم الخدمة"),
    "other": ("الطرف الثاني", "المستأجر", "العميل", "المشترك", "العامل", "المشتري", "المستفيد"),
    "deed": ("العقد", "الاتفاق", "التعهد", "الملحق"),
    "duty": (
        "يسلم البضاعة في الموقع المتفق عليه",
        "يسدد كامل المبالغ المستحقة عليه",
        "يوفر التأمين اللازم على المعدات",
        "يعيد جميع الوثائق والمستندات وصورها",
        "يقدم كشف حساب مفصلاً في نهاية كل شهر",
        "ينفذ الأعمال وفق الأصول الفنية المتبعة",
        "يتقيد بجميع القوانين واللوائح النافذة",
        "يستبدل القطع المعيبة دون مقابل",
        "يخطر الطرف الآخر بأي تغيير في العنوان",
        "يسلم المفاتيح والعين المؤجرة بحالة جيدة",
        "يقدم الضمان البنكي والسجل التجاري",
    ),
    "event": (
        "توقيع هذا العقد",
        "استلام الفاتورة",
        "إتمام الأعمال",
        "حدوث القوة القاهرة",
        "انتهاء مدة الضمان",
        "الإخلال بأحكام هذه المادة",
        "القبول الكتابي من العميل",
    ),
    "remedy": (
        "فسخ هذا العقد",
        "إيقاف الخدمات مؤقتاً",
        "المطالبة بالتعويض عن الأضرار",
        "خصم المبلغ من أي دفعة لاحقة",
        "تسييل ضمان حسن التنفيذ",
        "التعاقد مع الغير على حساب الطرف المخل",
    ),
    "truth": (
        "له كامل الصلاحية والأهلية لإبرام هذا العقد",
        "الأسعار شاملة جميع الضرائب والرسوم",
        "المعدات تبقى ملكاً للمورد حتى سداد كامل الثمن",
        "الصور المرفقة مطابقة لأصولها",
        "العين المؤجرة خالية من أي رهن أو حق للغير",
        "المدد المنصوص عليها جوهرية وملزمة للطرفين",
    ),
    "breach": (
        "التنازل عن هذا العقد أو عن أي جزء منه",
        "تأجير العين من الباطن",
        "الإفصاح عن شروط هذا العقد",
        "إعادة بيع الخدمات للغير",
        "استعمال اسم الطرف الآخر أو علامته التجارية",
    ),
    "term": ("الخدمات", "البضاعة", "العين المؤجرة", "تاريخ السريان", "الأتعاب", "الأعمال", "المعدات", "يوم العمل"),
    "meaning": (
        "جميع المعلومات التي يفصح عنها أي من الطرفين شفاهةً أو كتابةً",
        "المنتجات الموصوفة في أمر الشراء",
        "اليوم الذي تعمل فيه البنوك عادةً",
        "التاريخ الذي يوقع فيه آخر الطرفين",
        "المبالغ المستحقة على العميل دون الضريبة",
        "المبنى وملحقاته وأجزاؤه المشتركة",
        "العرض الفني والعرض المالي",
    ),
    "city": ("مسقط", "الدوحة", "الجزائر", "تونس", "الكويت", "دبي", "القاهرة", "عمّان", "المنامة", "الرياض"),
    "street": ("شارع الكورنيش", "طريق المطار", "شارع الجامعة", "شارع السوق القديم", "شارع الاستقلال", "طريق الميناء"),
    "given": ("أحمد", "سالم", "فاطمة", "خالد", "مريم", "يوسف", "نورة", "حسن", "ليلى", "عمر", "سعيد", "محمد", "عائشة"),
    "family": (
        "الحارثي", "حداد", "المنصوري", "بن صالح", "الكواري", "عبد الرحمن", "الناصر", "فاروق", "البلوشي", "العامري",
    ),
    "firm": ("أفق الخليج", "الكثيب الأزرق", "النور", "الأرز", "نجمة الشمال", "الأطلس", "ساحل اللؤلؤ", "الوادي الأخضر"),
    "trade": ("للتجارة", "للاتصالات", "للمقاولات", "للنقل", "للهندسة", "للعقارات", "للاستشارات", "للخدمات الطبية"),
    "legal": ("ش.م.م", "ذ.م.م", "وشركاه", "القابضة", "ش.م.ع.ع", "المحدودة"),
    "month": (
        "يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر",
    ),
    "currency": ("ريال عماني", "ريال قطري", "دينار جزائري", "دينار كويتي", "دولار أمريكي", "درهم"),
    "role": ("المدير العام", "الرئيس التنفيذي", "المالك", "المفوض بالتوقيع", "الشريك", "مدير الشؤون القانونية"),
    "item": (
        "جهاز توجيه", "صيانة سنوية", "إيجار مكتب", "خط مؤجر", "تركيب", "تأمين", "ماء وكهرباء", "تدريب", "قطع غيار",
        "نقل", "أتعاب استشارية", "شرائح هاتف",
    ),
    "column": ("الرقم", "البيان", "الكمية", "سعر الوحدة", "الإجمالي", "التاريخ", "ملاحظات", "المبلغ", "الضريبة"),
    "note": (
        "قرئ وصودق عليه", "موافق على ما ورد أعلاه", "استلمت نسخة من العقد", "يعتمد بعد السداد", "اطلعت وأوافق",
        "تم استلام الأصل", "مع التحية والتقدير",
    ),
    "witness": ("شاهد", "الشاهد الأول", "الشاهد الثاني"),
}  # fmt: skip
_ARABIC_TITLES = (
    "عقد تقديم خدمات", "عقد إيجار", "عقد عمل", "الشروط والأحكام العامة", "عقد بيع", "مذكرة تفاهم", "توكيل رسمي",
    "اتفاقية عدم إفصاح", "عقد شراكة", "عقد توريد", "تعهد وإقرار", "عقد اشتراك",
)  # fmt: skip
_ARABIC_HEADINGS = (
    "التعريفات", "نطاق العمل", "الثمن وطريقة الدفع", "مدة العقد وإنهاؤه", "السرية", "المسؤولية", "القوة القاهرة",
    "الإخطارات", "القانون الواجب التطبيق", "أحكام عامة", "التزامات الطرفين", "التأمين", "الغرامات", "التنازل",
    "التسليم والقبول", "التمهيد", "الضمانات",
)  # fmt: skip
_ARABIC_FIELDS = (
    "الاسم", "الصفة", "التاريخ", "رقم الهوية", "الجنسية", "الهاتف", "العنوان", "السجل التجاري", "التوقيع", "الختم",
    "صندوق البريد", "رقم العقد", "مكان الإصدار",
)  # fmt: skip

ARABIC = Lexicon(
    language="ar",
    sentences=_ARABIC_SENTENCES,
    slots=_ARABIC_SLOTS,
    titles=_ARABIC_TITLES,
    headings=_ARABIC_HEADINGS,
    fields=_ARABIC_FIELDS,
    opening=(
        "إنه في يوم {date} تم الاتفاق بين كل من: {company}، ومقرها {address}، ويمثلها السيد {name} بصفته {role} "
        "(ويشار إليها فيما بعد بـ{party})، و{company}، ومقرها {address} (ويشار إليها فيما بعد بـ{other}).",
        "الحمد لله وحده، وبعد: فقد اتفق كل من السيد {name} بصفته {role} والسيد {name} وهما بكامل أهليتهما المعتبرة "
        "شرعاً وقانوناً على ما يأتي:",
        "بالإشارة إلى خطابكم المؤرخ في {date} يسرنا أن نؤكد لكم الشروط الآتية:",
    ),
    closing=(
        "وإثباتاً لما تقدم وقّع الطرفان على هذا {deed} في التاريخ المبين أعلاه.",
        "حرر هذا {deed} في {city} من نسختين أصليتين بيد كل طرف نسخة للعمل بموجبها، بتاريخ {date}.",
        "والله ولي التوفيق، وقد جرى التوقيع بحضور الشاهدين المذكورين أدناه.",
    ),
    signing=(
        "التوقيع والختم",
        "عن {party}",
        "عن {other}",
        "المفوض بالتوقيع",
        "الطرف الأول",
        "الطرف الثاني",
        "الشاهد",
        "وتفضلوا بقبول فائق الاحترام،",
        "ختم الشركة",
        "التوقيع",
    ),
    clause="المادة ({number}): {heading}",
    page="صفحة {number} من {total}",
)


_ENGLISH_SENTENCES = (
    "The {party} shall {duty} within {days} days of {event}.",
    "Unless otherwise agreed in writing, the {party} shall {duty}, and the {other} shall {duty}.",
    "If the {party} fails to {duty}, the {other} may {remedy} by giving not less than {days} days' written notice.",
    "Nothing in this {deed} shall oblige the {party} to {duty} before {event}.",
    "The {other} acknowledges that {truth}.",
    "For the purposes of this Clause {n}, “{term}” means {meaning}.",
    "“{term}” means {meaning} as set out in Schedule {n}.",
    "The total price payable under this {deed} is {amount}, payable in {n} equal instalments.",
    "A sum of {amount} shall be paid to the {party} on or before {date}.",
    "This {deed} takes effect on {date} and remains in force for {n} years, renewable by mutual written consent.",
    "Any notice under this {deed} shall be delivered by hand or registered post to {address}.",
    "The {party} warrants to the {other} that {truth}, and undertakes to {duty}.",
    "Neither party may {breach} without the prior written consent of the other, such consent not to be unreasonably "
    "withheld.",
    "Subject to Clause {n}.{n}, the liability of the {party} arising out of {event} shall not exceed {amount}.",
    "All disputes arising out of this {deed} shall be settled amicably, failing which by the competent courts of "
    "{city}.",
    "This {deed} is governed by the laws in force in {city}.",
    "The {party} shall keep confidential {meaning} and shall not {breach} except as required by law.",
    "Upon {event}, the {party} shall {duty} and {duty}.",
    "The parties have agreed that {truth} and that the {other} shall {duty} at its own cost.",
    "Where {event} continues for more than {days} days, either party may {remedy}.",
    "No variation of this {deed} is valid unless made in writing and signed by {name} on behalf of {company}.",
    "The attached Annex {n} forms an integral part of this {deed}.",
)
_ENGLISH_SLOTS = {
    "party": ("Supplier", "Contractor", "First Party", "Lessor", "Service Provider", "Employer", "Seller", "Licensor"),
    "other": ("Customer", "Client", "Second Party", "Lessee", "Purchaser", "Employee", "Buyer", "Licensee"),
    "deed": ("Agreement", "Contract", "Deed", "Lease", "Undertaking", "Addendum"),
    "duty": (
        "deliver the Goods to the Site",
        "pay the outstanding balance in full",
        "maintain adequate insurance",
        "return all documents and copies thereof",
        "provide a detailed statement of account",
        "carry out the Works with due skill and care",
        "comply with all applicable laws and regulations",
        "replace any defective part free of charge",
        "notify the other party of any change of address",
        "hand over the keys and the premises in good repair",
        "issue an invoice at the end of each calendar month",
        "submit the bank guarantee and the commercial registration",
        "activate the lines and equipment listed in the order form",
    ),
    "event": (
        "the signature of this Agreement",
        "receipt of a valid invoice",
        "completion of the Works",
        "an event of force majeure",
        "termination for whatever reason",
        "written acceptance by the Customer",
        "the expiry of the guarantee period",
        "a breach of this Clause",
    ),
    "remedy": (
        "terminate this Agreement",
        "suspend the Services",
        "claim damages for the loss suffered",
        "deduct the amount due from any later payment",
        "call the performance bond",
        "appoint another contractor at the cost of the defaulting party",
    ),
    "truth": (
        "it has full power and authority to enter into this Agreement",
        "time is of the essence",
        "the prices include all taxes and duties",
        "the equipment remains the property of the Supplier until paid in full",
        "no other representation has been relied upon",
        "the copies attached hereto are true copies of the originals",
        "the premises are free of any mortgage or encumbrance",
    ),
    "breach": (
        "assign or transfer any right or obligation hereunder",
        "sublet the premises or any part of them",
        "disclose the terms of this Agreement",
        "resell the Services",
        "use the name or the marks of the other",
    ),
    "term": ("Services", "Goods", "Premises", "Effective Date", "Fees", "Works", "Equipment", "Business Day", "Site"),
    "meaning": (
        "all information disclosed by either party, whether orally or in writing",
        "the products described in the purchase order",
        "a day on which banks are open for business",
        "the date on which the last party signs",
        "the amounts payable by the Customer, excluding tax",
        "the building, its fixtures and its common parts",
        "the technical and financial proposals",
    ),
    "city": ("Muscat", "Doha", "Algiers", "Tunis", "Kuwait City", "Dubai", "Cairo", "Amman", "Manama", "Riyadh"),
    "street": ("Corniche Street", "Airport Road", "Harbour Avenue", "Palm Street", "Market Road", "University Road"),
    "given": (
        "Ahmed", "Salem", "Fatima", "Khalid", "Mariam", "Youssef", "Noura", "Hassan", "Leila", "Omar", "Daniel",
        "Sarah", "Rajesh", "Anita", "Thomas", "Claire", "Viktor", "Mei",
    ),
    "family": (
        "Al Harthy", "Haddad", "Mansour", "Ben Salah", "Al Kuwari", "Rahman", "Nasser", "Farouk", "Sharma", "Walker",
        "Novak", "Lindqvist", "Fernandes", "Okafor", "Chen",
    ),
    "firm": (
        "Gulf Horizon", "Blue Dune", "Al Noor", "Cedar", "Northern Star", "Atlas", "Pearl Coast", "Sahara Link",
        "Green Valley", "Mountain Gate", "Silver Falcon",
    ),
    "trade": ("Trading", "Telecom", "Contracting", "Logistics", "Engineering", "Real Estate", "Medical", "Consulting"),
    "legal": ("LLC", "W.L.L.", "S.A.O.C.", "Ltd.", "& Partners", "Holding", "S.A.", "Est."),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ),
    "currency": ("USD", "OMR", "QAR", "DZD", "EUR", "KWD"),
    "role": ("General Manager", "Director", "Chief Executive Officer", "Owner", "Authorised Signatory", "Partner"),
    "item": (
        "Fibre router", "Annual maintenance", "Office rent", "Leased line 100 Mbps", "Installation", "Security deposit",
        "Water and electricity", "Insurance", "Training", "Spare parts", "Transport", "Consulting fee", "SIM cards",
    ),
    "column": ("No.", "Description", "Quantity", "Unit price", "Total", "Date", "Remarks", "Unit", "Amount", "Tax"),
    "note": (
        "Read and approved", "Good for agreement", "Received one copy", "Approved, subject to payment",
        "Seen and agreed", "To be paid in cash", "Original returned", "With best regards",
    ),
    "witness": ("Witness", "First witness", "Second witness"),
}  # fmt: skip
_ENGLISH_TITLES = (
    "SERVICE AGREEMENT", "LEASE CONTRACT", "CONTRACT OF EMPLOYMENT", "GENERAL TERMS AND CONDITIONS", "SALE AGREEMENT",
    "MEMORANDUM OF UNDERSTANDING", "POWER OF ATTORNEY", "NON-DISCLOSURE AGREEMENT", "DEED OF PARTNERSHIP",
    "SUPPLY CONTRACT", "LETTER OF UNDERTAKING", "SUBSCRIPTION CONTRACT",
)  # fmt: skip
_ENGLISH_HEADINGS = (
    "Definitions", "Scope of Work", "Price and Payment", "Term and Termination", "Confidentiality", "Liability",
    "Force Majeure", "Notices", "Governing Law", "General Provisions", "Obligations of the Parties", "Insurance",
    "Penalties", "Assignment", "Delivery and Acceptance", "Recitals", "Guarantees", "Entire Agreement",
)  # fmt: skip
_ENGLISH_FIELDS = (
    "Name", "Position", "Date", "ID No.", "Nationality", "Telephone", "Address", "C.R. No.", "Signature", "Stamp",
    "P.O. Box", "Contract No.", "E-mail", "Place of issue",
)  # fmt: skip

ENGLISH = Lexicon(
    language="en",
    sentences=_ENGLISH_SENTENCES,
    slots=_ENGLISH_SLOTS,
    titles=_ENGLISH_TITLES,
    headings=_ENGLISH_HEADINGS,
    fields=_ENGLISH_FIELDS,
    opening=(
        "This {deed} is made on {date} between {company}, having its registered office at {address}, represented by "
        "{name} (the “{party}”), and {company}, of {address} (the “{other}”).",
        "Between the undersigned: {company}, represented by {name} in the capacity of {role}, of the one part, and "
        "{name}, of the other part, it has been agreed as follows:",
        "With reference to your letter dated {date}, we are pleased to confirm the following terms.",
    ),
    closing=(
        "IN WITNESS WHEREOF the parties have signed this {deed} on the date first written above.",
        "Done in {city} in two originals, each party having received one, on {date}.",
        "Signed, sealed and delivered in the presence of the witnesses named below.",
    ),
    signing=(
        "Signed for and on behalf of",
        "For the {party}",
        "For the {other}",
        "Authorised signatory",
        "First Party",
        "Second Party",
        "Witness",
        "Yours faithfully,",
        "Company stamp",
        "Signature",
    ),
    clause="{number}. {heading}",
    page="Page {number} of {total}",
)
